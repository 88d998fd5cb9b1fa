"""Archives that the user or torchvision has already extracted."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.datasets.archives.download import RemoteFile
from benchmark.datasets.archives.image_cache import CachedImages, cached_images, listing_key
from benchmark.paths import cache_folder, data_root


def cached_archive(
    archive: RemoteFile,
    version: int,
    decode: Callable[[Path], None],
    folders: Sequence[Path],
    find: Callable[[Path], list[Path]],
    decode_files: Callable[[Path, list[Path]], None],
) -> CachedImages:
    """Decodes an archive, or its extracted files if the archive is missing and one of `folders` exists.

    Downloads the archive if both are missing. version: the version of the decoding. decode(cache): fills a cache from
    the archive. find(folder): lists the files in the order of the archive; raises InputError if some are missing.
    decode_files(cache, files): fills a cache with the same images from these files. Writes nothing to `folders`.
    """
    dataset = archive.path.partition("/")[0]
    cache = cache_folder(dataset, f"{version}-{archive.checksum}")
    extracted = [folder for folder in folders if folder.is_dir()]
    if not extracted or (data_root() / archive.path).is_file() or (cache / "done.json").is_file():
        return cached_images(cache, decode)
    files = find(extracted[0])
    key = listing_key(((str(file), file.stat()) for file in files), version)
    return cached_images(cache_folder(dataset, key), lambda folder: decode_files(folder, files))
