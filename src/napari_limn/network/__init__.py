"""The U-Net family: one definition, its geometry computed from it."""
