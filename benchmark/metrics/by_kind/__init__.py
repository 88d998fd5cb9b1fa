"""What is different for images and for rows of a table: the space of distances, and what is kept to be shown."""
