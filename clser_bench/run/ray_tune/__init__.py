"""Packs run by Ray Tune, on this machine or on a cluster; the only folder that imports ray."""
