"""Forward port 6066 of this container to a worker: one port on the host for any number of workers.

Each connection goes to one of the workers that the name `worker` has at that moment.
"""

import asyncio
import signal

PORT = 6066


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        from_worker, to_worker = await asyncio.open_connection("worker", PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, to_worker), _copy(from_worker, writer))


async def main() -> None:
    """Serve until SIGTERM, which the image blocks for its first process until there is a handler."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    await asyncio.start_server(_forward, "0.0.0.0", PORT)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
