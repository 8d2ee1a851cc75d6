"""De-identification of inputs."""
