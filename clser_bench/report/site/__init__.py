"""The leaderboard as a folder of static HTML that works offline, without a server."""
