"""One of several processes of a run: python two_processes.py PORT COUNT ID WORKDIR STEPS, each with two devices."""

import sys

import jax

if __name__ == "__main__":
    port, count, identity, workdir, steps = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=int(count), process_id=int(identity))
    import runs

    from pojax import train

    train.run(runs.get_config("bnpo", run__steps=int(steps)), workdir)
