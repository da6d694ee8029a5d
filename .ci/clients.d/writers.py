"""Real clients as the people who put files in: rclone, Google's Python client, gdrive_fsspec.

All of them go to Google by its own names: content has an address of its own, which clients make from those.
"""

import hashlib
import io
import json
import os
import random
from unittest import mock

import httplib2
from gdrive_fsspec import GoogleDriveFileSystem
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload

import google_client
from emulator import status
from rclone_client import Rclone, local
from tunnel import Tunnel

FOLDER = "application/vnd.google-apps.folder"
BLOCK = 256 << 10


def run(emulator, report, home, binary):
    noise = random.Random(14)
    tunnel = Tunnel(emulator.tls_port)
    way = {"HTTPS_PROXY": tunnel.address, "NO_PROXY": "127.0.0.1"}
    try:
        with mock.patch.dict(os.environ, way), mock.patch.object(httplib2, "CA_CERTS", str(emulator.ca)):
            google(emulator, report, noise)
            fsspec(emulator, report, noise)
        rclone(Rclone(binary, home, emulator, tunnel, "drive"), emulator, report, home, noise)
    finally:
        tunnel.close()


def stored(emulator, file):
    """What the emulator says about a file, whoever asks."""
    return emulator.control("GET", f"files/{file}")


def google(emulator, report, noise):
    drive = build("drive", "v3", credentials=google_client.user(emulator), static_discovery=True)
    files = drive.files()
    folder = files.create(body={"name": "Inbox", "mimeType": FOLDER}, fields="id").execute()["id"]
    ids = files.generateIds(count=2).execute()["ids"]
    ways = ((False, -1, 70_000), (True, BLOCK, 3 * BLOCK + 17), (True, -1, 100_000), (True, BLOCK, 0))
    for resumable, chunk, size in ways:
        content = noise.randbytes(size)
        media = MediaIoBaseUpload(io.BytesIO(content), "video/mp4", chunksize=chunk, resumable=resumable)
        body = {"name": f"film {size}.mp4", "parents": [folder]} | ({"id": ids.pop()} if ids else {})
        made = files.create(body=body, media_body=media, fields="id,sha256Checksum,mimeType,parents").execute()
        found = (made["sha256Checksum"], made["mimeType"], made["parents"])
        report.equal(f"an upload of {size} bytes (resumable: {resumable}) arrives whole", found,
                     (hashlib.sha256(content).hexdigest(), "video/mp4", [folder]))
    file = made["id"]
    emulator.fault("upload", status(503, "backendError"), times=2, skip=1)
    content = noise.randbytes(4 * BLOCK + 5)
    media = MediaIoBaseUpload(io.BytesIO(content), "video/mp4", chunksize=BLOCK, resumable=True)
    request, answer, errors = files.update(fileId=file, media_body=media), None, 0
    while answer is None:
        # Its own retries send a stream that has been read already; asked again, it finds out what has arrived.
        try:
            _, answer = request.next_chunk()
        except HttpError as error:
            errors += error.status_code == 503
    found = (errors, stored(emulator, file)["sha256Checksum"])
    report.equal("an upload goes on after errors", found, (2, hashlib.sha256(content).hexdigest()))
    target = files.create(body={"name": "Done", "mimeType": FOLDER}).execute()["id"]
    place = {"addParents": target, "removeParents": folder}
    moved = files.update(fileId=file, **place, body={"name": "b.mp4"}, fields="name,parents").execute()
    report.equal("a file is renamed and moved", moved, {"name": "b.mp4", "parents": [target]})
    copy = files.copy(fileId=file, body={"name": "copy.mp4"}, fields="id,sha256Checksum").execute()
    report.equal("a copy has the bytes", copy["sha256Checksum"], hashlib.sha256(content).hexdigest())
    answers = {}
    batch = drive.new_batch_http_request(callback=lambda id, answer, error: answers.update({id: error or answer}))
    batch.add(files.update(fileId=file, body={"trashed": True}, fields="trashed"), request_id="trash")
    batch.add(files.delete(fileId=copy["id"]), request_id="delete")
    batch.add(files.get(fileId="none"), request_id="none")
    batch.execute()
    report.equal("a batch trashes", answers["trash"], {"trashed": True})
    report.true("a batch tells each error by itself", isinstance(answers["none"], HttpError), answers)
    files.emptyTrash().execute()
    left = [item["name"] for item in emulator.control("GET", "files")["files"]]
    report.true("deleted and trashed files are gone", not {"b.mp4", "copy.mp4"} & set(left), left)
    with report.raises("a folder below itself is refused", HttpError, lambda error: error.status_code == 400):
        files.update(fileId=target, addParents=target, removeParents="root").execute()


class Files(GoogleDriveFileSystem):
    """As it is; only where a browser would be opened, somebody has consented already."""

    person = None

    def _connect_cache(self):
        return self.person


def fsspec(emulator, report, noise):
    Files.person = google_client.user(emulator)
    system = Files(token="cache", skip_instance_cache=True)
    system.makedirs("fsspec/deep", exist_ok=True)
    for name, size in (("small.mp4", 1000), ("large.mp4", 11 << 20)):
        content = noise.randbytes(size)
        with system.open(f"fsspec/deep/{name}", "wb") as out:
            out.write(content)
        system.invalidate_cache()
        report.true(f"gdrive_fsspec writes and reads {name}", system.cat(f"fsspec/deep/{name}") == content)
    system.rm("fsspec/deep/small.mp4")
    system.invalidate_cache()
    report.equal("gdrive_fsspec removes", [path.rsplit("/", 1)[-1] for path in system.ls("fsspec/deep")], ["large.mp4"])


def rclone(rclone, emulator, report, home, noise):
    source = home / "source"
    contents = {
        "plain.mp4": noise.randbytes(200_000),
        "Été/夏の海 🎬.mp4": noise.randbytes(70_000),
        "Été/empty.mp4": b"",
        "Été/quote's \"name\".mkv": noise.randbytes(12_345),
        "large.mov": noise.randbytes(20 << 20),
    }
    for path, content in contents.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)
    top = "person:from rclone"
    emulator.control("DELETE", "requests")
    rclone("copy", "--drive-chunk-size", "1M", "--drive-upload-cutoff", "8M", source, top)
    expected = local(source)
    report.equal("rclone uploads a tree, byte for byte", rclone.listing(top), expected)
    sessions = emulator.requests("upload")
    report.true("and the large file in pieces", len(sessions) == 20, len(sessions))
    rclone("check", source, top)
    emulator.fault("upload", status(503, "backendError"), times=2, skip=3)
    (source / "large.mov").write_bytes(noise.randbytes(10 << 20))
    rclone("copy", "--drive-chunk-size", "1M", "--drive-upload-cutoff", "8M", source, top)
    report.equal("rclone replaces a file, over errors", rclone.listing(top), local(source))
    rclone("moveto", f"{top}/plain.mp4", f"{top}/moved/renamed.mp4")
    rclone("copyto", f"{top}/moved/renamed.mp4", f"{top}/copy.mp4")
    rclone("deletefile", f"{top}/large.mov")
    rclone("purge", f"{top}/Été")
    plain = hashlib.sha256(contents["plain.mp4"]).hexdigest()
    report.equal("rclone moves, copies, deletes", rclone.listing(top), [
        ("copy.mp4", False, 200_000, plain), ("moved", True, 0, None), ("moved/renamed.mp4", False, 200_000, plain),
    ])
    names = {item["name"]: item["trashed"] for item in emulator.control("GET", "files")["files"]}
    report.equal("what it deletes is in the trash", (names["large.mov"], names["Été"]), (True, True))
    rclone("cleanup", "person:")
    names = {item["name"] for item in emulator.control("GET", "files")["files"]}
    report.true("until the trash is emptied", not {"large.mov", "Été"} & names, names)
    about = json.loads(rclone("about", "--json", "person:"))
    report.true("rclone knows the room", about["total"] == 2 << 40, about)
