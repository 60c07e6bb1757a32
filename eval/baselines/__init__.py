"""The detectors that ours is compared with, each with one stated set of settings for accuracy and for speed.

- `adapters`: how each is called, and its settings
- `worker`: runs one in the interpreter that has it
- `client`: asks the worker, from here
"""
