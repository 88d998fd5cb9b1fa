"""What a suite runs with, as text: its complete protocol and the installed packages."""

from importlib.metadata import distributions

import tomli_w

from benchmark.config.protocol import Protocol, protocol_table


def protocol_toml(protocol: Protocol) -> str:
    """TOML text with every value of the protocol, from which `load_protocol` reads the same protocol."""
    return tomli_w.dumps({"name": protocol.name, **protocol_table(protocol)})


def packages() -> str:
    """The installed distributions, one `name==version` a line."""
    found = {f"{item.metadata['Name']}=={item.version}" for item in distributions() if item.metadata["Name"]}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))
