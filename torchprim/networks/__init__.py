"""Networks that learn to separate: their settings, the paper's recurrent one, and a small U-Net."""
