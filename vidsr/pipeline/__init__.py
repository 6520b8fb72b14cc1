"""Threads, queues and segments; knows neither torch nor PyAV."""
