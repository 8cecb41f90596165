"""Networks that learn to separate: configuration, BLSTM, U-Net, checkpoints."""
