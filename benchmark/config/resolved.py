"""What a suite ran with, kept beside its results: the complete protocol and the installed packages."""

import hashlib
from importlib.metadata import distributions
from pathlib import Path

import tomli_w

from benchmark import __version__
from benchmark.config.protocol import Protocol, protocol_table
from benchmark.store.atomic_files import replacing

KEPT = ("protocols/", "packages.txt")  # below a results folder


def protocol_toml(protocol: Protocol) -> str:
    """TOML text with every value of the protocol, from which `load_protocol` reads the same protocol."""
    return tomli_w.dumps({"name": protocol.name, **protocol_table(protocol)})


def packages() -> str:
    """The installed distributions, one `name==version` a line."""
    found = {f"{item.metadata['Name']}=={item.version}" for item in distributions() if item.metadata["Name"]}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def keep_protocol(results: Path, protocol: Protocol, protocol_hash: str) -> Path:
    """Writes KEPT below a results folder, atomically; the path of the protocol's file.

    protocol_hash: of the suite's searches. Protocols that differ in what it leaves out, such as the settings of a
    searcher, get files of their own.
    """
    text = f"# latentbench {__version__}; to repeat the suite: latentbench run --protocol {{this file}}\n"
    text += protocol_toml(protocol)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    names = (f"protocol-{protocol_hash}.toml", f"protocol-{protocol_hash}-{digest}.toml")
    paths = [results / "protocols" / name for name in names]
    is_other = paths[0].is_file() and paths[0].read_text(encoding="utf-8") != text
    path = paths[1] if is_other else paths[0]
    for target, content in ((path, text), (results / "packages.txt", packages())):
        with replacing(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return path
