"""The scores of a trained VAE: Frechet distances, silhouettes and statistics of its latents."""
