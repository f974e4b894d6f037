//! Out of memory: give back caches, then kill by badness; the machine goes on.
