"""One decode per node, whatever the processes do: race, die, fill the disk, damage the files."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from longvt_plugins.errors import ConfigError, VideoDecodeError, VideoOpenError
from longvt_plugins.testing.videos import read_numbers, write_video
from longvt_plugins.types import MediaRef
from longvt_plugins.video import clip_store, node_store, probe
from longvt_plugins.video.node_store import NodeStore
from longvt_plugins.video.record import make_record


def reference(path, times_s=(0.5, 1.0), size=(56, 84)) -> MediaRef:
    info = probe(path)
    return MediaRef(path=info.path, identity=info.identity, times_s=times_s, size=size)


def record(value: int, count: int = 1000):
    return make_record({"value": value}, {"pixels": np.full(count, value, np.uint8)})


def start(code: str, *args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_pixels_by_reference(good):
    ref = reference(good["h264"])
    pixels = clip_store.get(ref)
    assert pixels.shape == (2, 56, 84, 3) and pixels.dtype == np.uint8
    assert read_numbers(pixels) == [15, 30]
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_the_digest_is_of_the_pixels(good):
    from hashlib import blake2b

    clip = clip_store.load(reference(good["h264"]))
    assert clip.digest == blake2b(clip.pixels.tobytes(), digest_size=16).hexdigest()


def test_a_second_process_reads_what_the_first_decoded(good):
    ref = reference(good["h264"])
    expected = clip_store.load(ref)
    code = """
        import sys
        from longvt_plugins.types import MediaRef
        from longvt_plugins.video import clip_store
        clip = clip_store.load(MediaRef.model_validate_json(sys.argv[1]))
        print(clip.digest, clip_store.status().made)
    """
    output, _ = start(code, ref.model_dump_json()).communicate()
    assert output.split() == [expected.digest, "0"]


def test_sixteen_processes_decode_once(good, tmp_path):
    code = """
        import sys, time, pathlib
        from longvt_plugins.types import MediaRef
        from longvt_plugins.video import clip_store
        while not pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.01)
        clip = clip_store.load(MediaRef.model_validate_json(sys.argv[1]))
        print(clip.digest, clip_store.status().made)
    """
    info = probe(good["long_gop"])
    ref = reference(good["long_gop"], tuple(info.times_s[::10].tolist()))
    children = [start(code, ref.model_dump_json(), tmp_path / "go") for _ in range(16)]
    (tmp_path / "go").touch()
    told = [child.communicate()[0].split() for child in children]
    assert len({digest for digest, _ in told}) == 1
    assert sum(int(made) for _, made in told) == 1


def test_threads_decode_once(tmp_path):
    store, made = NodeStore(tmp_path), []

    def make():
        made.append(1)
        time.sleep(0.05)
        return record(7)

    threads = [threading.Thread(target=store.fetch, args=("ab" * 16, make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and store.status().found == 7


def test_a_writer_that_is_killed_does_not_hold_up_the_rest(store):
    code = """
        import os, sys, time
        from longvt_plugins.video import node_store
        def make():
            print("making", flush=True)
            time.sleep(600)
        node_store.shared().fetch(sys.argv[1], make)
    """
    key = "cd" * 16
    child = start(code, key)
    assert child.stdout.readline() == "making\n"
    (store / "cd" / key).with_suffix(".part").write_bytes(b"half a rec")
    waiter = threading.Thread(target=node_store.shared().fetch, args=(key, lambda: record(9)))
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive()
    child.send_signal(signal.SIGKILL)
    child.wait()
    waiter.join(30)
    assert not waiter.is_alive()
    fresh = NodeStore(store)
    assert fresh.fetch(key, lambda: pytest.fail("made twice")).meta == {"value": 9}


def test_a_maker_that_fails_leaves_nothing_behind(tmp_path):
    store = NodeStore(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.fetch("ab" * 16, lambda: 1 / 0)
    assert store.fetch("ab" * 16, lambda: record(1)).meta == {"value": 1}
    assert not list(tmp_path.glob("*/*.lock")) and not list(tmp_path.glob("*/*.part"))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "text"])
def test_damaged_records_are_made_again(tmp_path, harm, caplog):
    key = "ab" * 16
    NodeStore(tmp_path).fetch(key, lambda: record(1))
    path = tmp_path / "ab" / key
    data = bytearray(path.read_bytes())
    data[-600] ^= 1
    path.write_bytes({"flip": data, "cut": data[:-500], "empty": b"", "text": b"not a record"}[harm])
    again = NodeStore(tmp_path).fetch(key, lambda: record(2))
    assert again.meta == {"value": 2}
    assert NodeStore(tmp_path).fetch(key, lambda: pytest.fail("made twice")).meta == {"value": 2}


def test_the_directory_stays_within_its_bound(tmp_path):
    bound = 1 << 20
    stores = [NodeStore(tmp_path, bound, memory_bytes=1) for _ in range(4)]
    for number in range(80):
        stores[number % 4].fetch(f"{number:032x}"[::-1], lambda number=number: record(number, 40_000))
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= bound
    assert sum(1 for _ in tmp_path.glob("*/*")) > 10


def test_what_was_used_last_stays(tmp_path):
    store = NodeStore(tmp_path, 1 << 20, memory_bytes=1)
    keys = [f"{number:02x}" * 16 for number in range(40)]
    for number, key in enumerate(keys):
        store.fetch(key, lambda number=number: record(number, 40_000))
        os.utime(tmp_path / key[:2] / key, (number, number))
        kept = tmp_path / keys[0][:2] / keys[0]
        os.utime(kept, (number + 0.5, number + 0.5))
    assert kept.exists()
    assert not (tmp_path / keys[1][:2] / keys[1]).exists()


def test_reading_counts_as_use(tmp_path):
    key = "ab" * 16
    NodeStore(tmp_path).fetch(key, lambda: record(1))
    path = tmp_path / "ab" / key
    for store in (NodeStore(tmp_path),) * 2:
        os.utime(path, (1, 1))
        store.fetch(key, lambda: pytest.fail("made twice"))
        assert path.stat().st_mtime > 1


def test_unfinished_files_of_the_dead_are_removed(tmp_path):
    store = NodeStore(tmp_path)
    left = tmp_path / "ab" / "dead.part"
    left.parent.mkdir()
    left.write_bytes(b"x")
    os.utime(left, (1, 1))
    store.fetch("cd" * 16, lambda: record(1))
    assert not left.exists()


def test_what_is_too_large_for_the_store_is_still_served(tmp_path):
    store = NodeStore(tmp_path, 1000)
    assert store.fetch("ab" * 16, lambda: record(1)).nbytes == 1000
    assert not [path for path in tmp_path.glob("*/*") if path.is_file()]


def test_a_directory_that_cannot_be_used_is_reported_once(tmp_path, caplog, good):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        status = clip_store.configure(tmp_path / "file" / "store")
        assert read_numbers(clip_store.get(reference(good["h264"]))) == [15, 30]
    assert not status and "directory" in status.reason.lower()
    assert [entry for entry in caplog.records if "cannot be used" in entry.message][1:] == []
    assert node_store.DIRECTORY_VARIABLE in caplog.text


def test_a_full_disk_degrades_loudly_and_serves_on(tmp_path):
    # A limit on file size stands in for the full disk: writes past it fail in the same call.
    code = """
        import resource, sys, pathlib
        import numpy as np
        from longvt_plugins.video.node_store import open_store
        from longvt_plugins.video.record import make_record
        store = open_store(pathlib.Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        for number in range(3):
            made = store.fetch(f"{number:02x}" * 16, lambda: make_record({}, {"pixels": np.ones(100_000, np.uint8)}))
            assert made.arrays["pixels"].all()
        print(bool(store.status()), store.status().reason, len([p for p in pathlib.Path(sys.argv[1]).glob("*/*")]))
    """
    output, _ = start(code, tmp_path).communicate()
    assert output.startswith("False File too large 0")


def test_a_store_that_is_off_keeps_frames_in_this_process(good, monkeypatch):
    monkeypatch.setenv(node_store.DIRECTORY_VARIABLE, "off")
    assert not clip_store.status()
    ref = reference(good["h264"])
    assert clip_store.get(ref) is clip_store.get(ref)
    assert clip_store.status().made == 1


def test_memory_is_bounded(tmp_path):
    store = NodeStore(None, memory_bytes=3000)
    for number in range(10):
        store.fetch(f"{number:032x}", lambda number=number: record(number))
    assert sum(kept.nbytes for kept in store._memory.values()) <= 3000
    assert store.fetch(f"{9:032x}", lambda: pytest.fail("made twice")).meta == {"value": 9}


def test_a_bound_that_is_no_number_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(node_store.BYTES_VARIABLE, "lots")
    with pytest.raises(ConfigError, match="LONGVT_CLIP_STORE_BYTES=lots"):
        node_store.open_store(tmp_path)


def test_a_reference_to_other_content_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", 60)
    ref = reference(path)
    clip_store.get(ref)
    write_video(path, 90)
    with pytest.raises(VideoOpenError, match=f"changed from {ref.identity}"):
        clip_store.get(ref)
    path.unlink()
    with pytest.raises(VideoOpenError, match="cannot be read"):
        clip_store.get(ref)


def test_times_no_frame_has_are_refused(good):
    with pytest.raises(VideoDecodeError, match="other times"):
        clip_store.get(reference(good["h264"], (0.51, 1.0)))


def test_a_fork_opens_its_own_store(good):
    ref = reference(good["h264"])
    clip_store.get(ref)
    node_store.shared()._guard.acquire()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # Ends a child that waits for the parent's lock.
        signal.alarm(60)
        os.write(write, clip_store.load(ref).digest.encode())
        os._exit(0)
    node_store.shared()._guard.release()
    os.waitpid(child, 0)
    assert os.read(read, 100).decode() == clip_store.load(ref).digest


def test_waiting_for_another_maker_ends_at_the_deadline(tmp_path):
    one, other = NodeStore(tmp_path), NodeStore(tmp_path)
    inside, leave = threading.Event(), threading.Event()

    def slow():
        inside.set()
        leave.wait(30)
        return record(1)

    thread = threading.Thread(target=one.fetch, args=("ab" * 16, slow))
    thread.start()
    inside.wait(30)
    assert other.fetch("ab" * 16, lambda: record(2), deadline=time.monotonic() + 0.05).meta == {"value": 2}
    leave.set()
    thread.join()
    assert NodeStore(tmp_path).fetch("ab" * 16, lambda: pytest.fail("made")).meta == {"value": 1}
