"""Downloads, extracted archives and the cache of decoded images."""
