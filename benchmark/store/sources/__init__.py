"""Where results are read from: folders, files of one study each, or several of both."""
