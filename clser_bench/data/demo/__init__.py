"""Four synthetic corpora, so that the benchmark runs on a machine without recordings.

espeak-ng speaks German, Italian, Mandarin and English; published rules of emotional prosody
(`rules.py`) shift rate, pitch, loudness and voice quality, each language at strengths of its own
and over a channel of its own (`languages.py`). They show that everything works and that methods
differ; they say nothing about which method is better on real speech.
"""

from clser_bench.data.demo.write import demo_corpora

__all__ = ["demo_corpora"]
