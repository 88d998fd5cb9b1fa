"""Archives that the user, or torchvision, has extracted already."""

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
    """The archive's images: from the archive, or without it from the first of the `folders` that exists.

    The archive is downloaded if there is neither. version: of the decoding. decode(cache): fills a cache from the
    archive. find(folder): the files in the order of the archive, InputError where some are missing.
    decode_files(cache, files): fills a cache with the same images from these files. Nothing is written to the folders.
    """
    dataset = archive.path.partition("/")[0]
    cache = cache_folder(dataset, f"{version}-{archive.checksum}")
    extracted = [folder for folder in folders if folder.is_dir()]
    if not extracted or (data_root() / archive.path).is_file() or (cache / "done.json").is_file():
        return cached_images(cache, decode)
    files = find(extracted[0])
    key = listing_key(((str(file), file.stat()) for file in files), version)
    return cached_images(cache_folder(dataset, key), lambda own: decode_files(own, files))
