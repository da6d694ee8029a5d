"""Google's own client, with static discovery and a service account, through everything the daemon needs of Drive."""

import hashlib
import http.server
import io
import json
import sys
import threading
import time
import urllib.request
import uuid

from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload

from checks import check, done

address, key_file = sys.argv[1:]
notifications = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        notifications.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def control(method, path, body=None, kind="application/json"):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/control/{path}", data, {"content-type": kind}, method=method)
    answer = urllib.request.urlopen(request).read()
    return json.loads(answer) if answer.strip() else None


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def reason(call):
    try:
        call.execute()
    except HttpError as error:
        return error.status_code, error.error_details[0]["reason"]
    return None


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()

credentials = service_account.Credentials.from_service_account_file(
    key_file, scopes=["https://www.googleapis.com/auth/drive.readonly"]
)
drive = build("drive", "v3", credentials=credentials, client_options={"api_endpoint": f"{address}/drive/v3/"})

about = drive.about().get(fields="user(emailAddress,permissionId),storageQuota").execute()
check("about names the account", "@" in about["user"]["emailAddress"], about)
inbox = next(file for file in control("GET", "files")["files"] if file["name"] == "Inbox")["id"]
start = drive.changes().getStartPageToken(supportsAllDrives=True).execute()["startPageToken"]
check("a start page token is a decimal string", isinstance(start, str) and start.isdigit(), start)

channel = {
    "id": str(uuid.uuid4()),
    "type": "web_hook",
    "address": f"http://127.0.0.1:{receiver.server_port}/hook",
    "token": "s3cret",
    "expiration": str(int(time.time() * 1000) + 3_600_000),
}
watch = drive.changes().watch(pageToken=start, supportsAllDrives=True, includeItemsFromAllDrives=True, body=channel)
granted = watch.execute()
check("watch answers a channel", granted["kind"] == "api#channel" and granted["resourceId"], granted)
check("its expiration is text in whole seconds", granted["expiration"].endswith("000"), granted)
check("a sync message comes first", wait(lambda: len(notifications) == 1), notifications)
first = notifications[0]
check("it is number 1 of state sync", (first["x-goog-message-number"], first["x-goog-resource-state"]) == ("1", "sync"), first)
check("it names channel, token and resource", (
    first["x-goog-channel-id"], first["x-goog-channel-token"], first["x-goog-resource-id"]
) == (channel["id"], "s3cret", granted["resourceId"]), first)
check("an id is taken once", reason(drive.changes().watch(pageToken=start, body=channel)) == (400, "channelIdNotUnique"))

content = bytes(range(256)) * 4000
film = control("POST", f"files?name=film.mp4&parent={inbox}", content, "application/octet-stream")["id"]
check("an upload is announced", wait(lambda: len(notifications) == 2), notifications)
check("as a change, with a higher number", notifications[1]["x-goog-resource-state"] == "change"
      and int(notifications[1]["x-goog-message-number"]) > 1, notifications[1])

fields = "newStartPageToken,nextPageToken,changes(fileId,removed,file(id,name,size,md5Checksum,sha256Checksum,headRevisionId,parents,trashed))"


def changes(token):
    return drive.changes().list(pageToken=token, fields=fields, includeItemsFromAllDrives=True, supportsAllDrives=True).execute()


page = changes(start)
entry = page["changes"][0]
check("the log names the file", len(page["changes"]) == 1 and entry["fileId"] == film, page)
check("its size is text", entry["file"]["size"] == str(len(content)), entry)
check("its checksums are right", entry["file"]["md5Checksum"] == hashlib.md5(content).hexdigest()
      and entry["file"]["sha256Checksum"] == hashlib.sha256(content).hexdigest(), entry)
check("the last page has the next start token", int(page["newStartPageToken"]) > int(start), page)
got = drive.files().get(fileId=film, fields="id,name,mimeType,headRevisionId").execute()
check("get tells the type", got["mimeType"] == "video/mp4" and got["headRevisionId"] == entry["file"]["headRevisionId"], got)
listed = drive.files().list(q=f"'{inbox}' in parents and trashed = false", fields="files(id,name)").execute()
check("list finds it in its folder", listed == {"files": [{"id": film, "name": "film.mp4"}]}, listed)
bare = drive.files().get(fileId=film).execute()
check("without a mask there are the four default fields", sorted(bare) == ["id", "kind", "mimeType", "name"], bare)

buffer = io.BytesIO()
download = MediaIoBaseDownload(buffer, drive.files().get_media(fileId=film), chunksize=100_000)
parts, finished = 0, False
while not finished:
    _, finished = download.next_chunk()
    parts += 1
check("ranges make up the whole", parts > 5 and buffer.getvalue() == content, (parts, buffer.tell()))
empty = control("POST", f"files?name=empty.mp4&parent={inbox}", b"", "application/octet-stream")["id"]
buffer = io.BytesIO()
_, finished = MediaIoBaseDownload(buffer, drive.files().get_media(fileId=empty)).next_chunk()
check("an empty file ends at once", finished and buffer.tell() == 0, buffer.tell())

check("a missing file is 404 notFound", reason(drive.files().get(fileId="1nowhere")) == (404, "notFound"))
check("a wrong page token is 400 invalid", reason(drive.changes().list(pageToken="nonsense")) == (400, "invalid"))
check("an unknown field is refused", reason(drive.files().get(fileId=film, fields="nmae")) == (400, "invalidParameter"))

token = changes(page["newStartPageToken"])["newStartPageToken"]
control("PATCH", f"files/{film}", {"trashed": True})
trashed = changes(token)
check("the bin is no removal", [change["file"]["trashed"] for change in trashed["changes"]] == [True], trashed)
control("DELETE", f"files/{film}")
removed = changes(trashed["newStartPageToken"])
check("deletion is", [(change["fileId"], change["removed"]) for change in removed["changes"]] == [(film, True)], removed)

check("stop answers nothing", drive.channels().stop(body={"id": channel["id"], "resourceId": granted["resourceId"]}).execute() == "")
check("stopping twice is 404", reason(drive.channels().stop(body={"id": channel["id"], "resourceId": granted["resourceId"]})) == (404, "notFound"))
count = len(notifications)
control("POST", f"files?name=late.mp4&parent={inbox}", b"late", "application/octet-stream")
time.sleep(0.5)
check("a stopped channel is silent", len(notifications) == count, notifications[count:])
done()
