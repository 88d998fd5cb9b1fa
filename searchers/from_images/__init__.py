"""Methods that estimate the size from the images, before anything is trained."""
