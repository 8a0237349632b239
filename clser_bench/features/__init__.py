"""Audio to instants and summaries, extracted once and cached."""
