"""Images: reading them, the pyramid, aligned crops, rotation, drawing."""
