"""Tracking over HTTP: jobs that are queued, and streams of pictures by WebSocket."""
