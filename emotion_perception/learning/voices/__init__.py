"""Voice model: corpora, features, network, training."""
