"""What is measured on the image at hand: precision, library, seams."""
