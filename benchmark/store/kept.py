"""Keeps the complete protocol and the list of installed packages of a suite beside its results."""

import hashlib
from pathlib import Path

from benchmark.config.protocol import Protocol
from benchmark.config.resolved import packages, protocol_toml
from benchmark.store.atomic_files import replacing

KEPT = ("protocols/", "packages.txt")  # below a results folder


def keep_protocol(results: Path, protocol: Protocol, protocol_hash: str) -> Path:
    """Writes KEPT below a results folder, atomically, and returns the path of the protocol.

    protocol_hash: of the suite's searches. It leaves out the settings of searchers, for example; protocols that differ
    in these get separate files.
    """
    text = "# To repeat the suite: latentbench run --protocol {this file}\n" + protocol_toml(protocol)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    names = (f"protocol-{protocol_hash}.toml", f"protocol-{protocol_hash}-{digest}.toml")
    paths = [results / "protocols" / name for name in names]
    is_other = paths[0].is_file() and paths[0].read_bytes() != text.encode()
    path = paths[1] if is_other else paths[0]
    for target, content in ((path, text.encode()), (results / "packages.txt", packages().encode())):
        if target.is_file() and target.read_bytes() == content:
            continue  # a suite that is done changes no file
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    return path
