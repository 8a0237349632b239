"""Speech encoders of the Hugging Face hub: found, loaded, batched, pooled."""
