"""Images: reading them, the pyramid, aligned crops, drawing."""
