"""What a trained model is used for: labels, neighbours, forecasts, files that run elsewhere."""
