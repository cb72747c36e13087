#!/usr/bin/python3
"""A stand-in for a phone, which the real adb client talks to over TCP:  adb_device.py ROOT

Its files are those below ROOT, its shell is /bin/sh of this machine with the paths moved there.
Prints the port that it listens on, and ends when killed.
  ROOT/full    exists: there is no room, every push fails
  ROOT/faults  and other files: of link_faults.py, for the runs of nas-profile

Protocol (AOSP, system/core/adb: protocol.txt, SYNC.TXT): messages of a 24 byte head and a
payload; a stream is OPENed, each WRTE is answered by OKAY before the next, and CLSEd.
"""
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from link_faults import Faults

ROOT = os.path.abspath(sys.argv[1])
PHONE = "/data/local/tmp"
BANNER = b"device::ro.product.name=standin;ro.product.model=StandIn;ro.product.device=standin;" \
         b"features=shell_v2,cmd"
MAX_PAYLOAD = 65536
ADDRESS = None  # as adb calls it


def local(path):
    return ROOT + os.path.normpath("/" + path)


class Stream:
    """One service: `incoming` are the pieces that the client writes, None at its end."""

    def __init__(self, connection, number, other):
        self.connection, self.number, self.other = connection, number, other
        self.incoming, self.acknowledged = queue.Queue(), queue.Queue()
        self.rest, self.open = b"", True

    def write(self, data):
        for at in range(0, len(data), MAX_PAYLOAD):
            if not self.open:
                raise EOFError
            self.connection.send(b"WRTE", self.number, self.other, data[at:at + MAX_PAYLOAD])
            if self.acknowledged.get(timeout=60) is None:
                raise EOFError

    def read(self, size):
        while len(self.rest) < size:
            piece = self.incoming.get()
            if piece is None:
                raise EOFError
            self.rest += piece
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def closed(self):
        self.open = False
        self.incoming.put(None)
        self.acknowledged.put(None)


def listen(stream, process):
    """What the client writes is the program's stdin."""
    try:
        while True:
            kind, size = struct.unpack("<BI", stream.read(5))
            data = stream.read(size)
            if kind == 0:
                os.write(process.stdin.fileno(), data)
            elif kind == 3:
                break
    except (EOFError, OSError):
        pass
    process.stdin.close()


def shell(stream, command):
    faults = Faults(ROOT) if "nas-profile job" in command else None
    script = "getprop() { echo Stand-in 1; }; cd '%s'; %s" % (
        local(PHONE), command.replace(PHONE, local(PHONE)))
    process = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    whole = True

    def write(kind, data):
        stream.write(struct.pack("<BI", kind, len(data)) + data)

    def pump(pipe, kind):
        nonlocal whole
        try:
            while data := os.read(pipe.fileno(), 4096):
                if kind != 1 or faults is None:
                    write(kind, data)
                elif not faults.hand_on(data, lambda piece: write(1, piece)):
                    raise EOFError
        except (EOFError, OSError, queue.Empty):
            whole = False
            stream.closed()

    pumps = [threading.Thread(target=pump, args=a, daemon=True)
             for a in ((process.stdout, 1), (process.stderr, 2))]
    for thread in pumps + [threading.Thread(target=listen, args=(stream, process), daemon=True)]:
        thread.start()
    while stream.open and process.poll() is None:
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.send_signal(signal.SIGHUP) # as a real one does; its stdin ends, too
    if faults is not None and faults.gone:
        stream.connection.away(faults.seconds)
    for thread in pumps:
        thread.join()
    process.wait()
    if stream.open and whole:
        stream.write(struct.pack("<BIB", 3, 1, process.returncode & 255))


def receive_file(stream, name, mode):
    target = local(name)
    full = os.path.exists(os.path.join(ROOT, "full"))
    with open(os.devnull if full else target, "wb") as file:
        while True:
            kind, size = struct.unpack("<4sI", stream.read(8))
            if kind != b"DATA":
                break
            file.write(stream.read(size))
    if full:
        text = b"couldn't write: No space left on device"
        stream.write(struct.pack("<4sI", b"FAIL", len(text)) + text)
    else:
        os.chmod(target, mode & 0o777)
        stream.write(struct.pack("<4sI", b"OKAY", 0))


def sync(stream):
    while True:
        kind, size = struct.unpack("<4sI", stream.read(8))
        if kind == b"QUIT":
            return
        name = stream.read(size).decode()
        if kind == b"STAT":
            try:
                info = os.lstat(local(name))
                answer = (info.st_mode, info.st_size & 0xffffffff, int(info.st_mtime))
            except OSError:
                answer = (0, 0, 0)
            stream.write(struct.pack("<4s3I", b"STAT", *answer))
        elif kind == b"SEND":
            path, mode = name.rsplit(",", 1)
            receive_file(stream, path, int(mode))
        else:
            return


def serve(stream, service):
    try:
        kind, _, rest = service.partition(":")
        if kind.split(",")[0] == "shell":
            shell(stream, rest)
        elif kind == "sync":
            sync(stream)
    except (EOFError, OSError, queue.Empty):
        pass
    try:
        if stream in stream.connection.streams.values():
            stream.connection.send(b"CLSE", stream.number, stream.other)
    except OSError:
        pass


class Connection(threading.Thread):
    def __init__(self, peer):
        super().__init__(daemon=True)
        self.peer, self.lock, self.streams, self.count = peer, threading.Lock(), {}, 0

    def send(self, kind, first, second, data=b""):
        magic = struct.unpack("<I", kind)[0] ^ 0xffffffff
        with self.lock:
            self.peer.sendall(struct.pack("<4s5I", kind, first, second, len(data),
                                          sum(data) & 0xffffffff, magic) + data)

    def receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.peer.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def handle(self, kind, first, second, data):
        if kind == b"CNXN":
            self.send(b"CNXN", 0x01000000, MAX_PAYLOAD, BANNER)
        elif kind == b"OPEN":
            self.count += 1
            stream = self.streams[self.count] = Stream(self, self.count, first)
            self.send(b"OKAY", stream.number, first)
            threading.Thread(target=serve, args=(stream, data.rstrip(b"\0").decode()),
                             daemon=True).start()
        elif second in self.streams:
            stream = self.streams[second]
            if kind == b"WRTE":
                stream.incoming.put(data)
                self.send(b"OKAY", second, first)
            elif kind == b"OKAY":
                stream.acknowledged.put(True)
            elif kind == b"CLSE":
                self.streams.pop(second).closed()

    def away(self, seconds):
        """The device is gone, and after a while there again: plugged in by hand."""
        self.peer.shutdown(socket.SHUT_RDWR)
        time.sleep(seconds)
        for verb in ("disconnect", "connect"):
            subprocess.run(["adb", verb, ADDRESS], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self):
        try:
            while True:
                kind, first, second, size, _, _ = struct.unpack("<4s5I", self.receive(24))
                self.handle(kind, first, second, self.receive(size))
        except (EOFError, OSError):
            for stream in self.streams.values():
                stream.closed()


def main():
    global ADDRESS

    os.makedirs(local(PHONE), exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    ADDRESS = "127.0.0.1:%d" % port
    print(port, flush=True)
    while True:
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(peer).start()


main()
