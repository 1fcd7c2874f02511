"""Face model: data, network, training."""
