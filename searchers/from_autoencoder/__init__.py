"""Methods that find the size with a deterministic autoencoder and train a VAE of that size, a file each."""
