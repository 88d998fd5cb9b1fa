"""What a trained VAE is scored by: Frechet distances, silhouettes and the state of its latents."""
