"""google-api-python-client: change log, push channels, media, errors."""

import hashlib
import io
import random
import time
import uuid
from email.utils import parsedate_to_datetime

from google.auth.exceptions import RefreshError
from google.oauth2 import credentials as user_credentials
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload

from emulator import pattern, status
from receiver import Receiver
from schema import violations

SCOPES = ["https://www.googleapis.com/auth/drive.readonly"]
EVERY = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
CHANGE_FIELDS = (
    "nextPageToken,newStartPageToken,changes(changeType,time,removed,fileId,driveId,file(id,name,mimeType,parents,"
    "size,md5Checksum,sha1Checksum,sha256Checksum,headRevisionId,version,createdTime,modifiedTime,trashed))"
)


def drive_for(emulator, credentials):
    return build(
        "drive", "v3", credentials=credentials, static_discovery=True,
        client_options={"api_endpoint": f"{emulator.url}/drive/v3/"},
    )


def user(emulator):
    """The client's own reader of such a file insists on Google's token endpoint."""
    given = emulator.credential("authorized-user.json")
    return user_credentials.Credentials(
        token=None, refresh_token=given["refresh_token"], token_uri=given["token_uri"],
        client_id=given["client_id"], client_secret=given["client_secret"],
    )


def run(emulator, report):
    key_file = emulator.credentials / "service-account.json"
    account = service_account.Credentials.from_service_account_file(str(key_file), scopes=SCOPES)
    drive = drive_for(emulator, account)
    receiver = Receiver()
    try:
        about(drive, emulator, report)
        follow(drive, emulator, report, receiver)
    finally:
        receiver.close()
    listing(drive, emulator, report)
    media(drive, emulator, report)
    errors(drive, emulator, report)
    logins(drive, emulator, report)


def about(drive, emulator, report):
    found = drive.about().get(fields="*").execute()
    report.equal("about.get is as the discovery document says", violations(found, "About"), [])
    report.true("about.get tells who the user is", "@" in found["user"]["emailAddress"], found)
    with report.raises("about.get without fields is a 400 required", HttpError, is_error(400, "required")):
        drive.about().get().execute()
    signed = [request for request in emulator.requests("token") if request["status"] == 200]
    report.true("the service account logged in at the emulator", signed, emulator.requests())


def changes_since(drive, token, **query):
    """Every change of every page, and the token to go on with."""
    changes = []
    while token:
        page = drive.changes().list(pageToken=token, **EVERY, **query).execute()
        changes += page["changes"]
        token, new = page.get("nextPageToken"), page.get("newStartPageToken")
    return changes, new


def watch(drive, token, receiver):
    body = {
        "id": str(uuid.uuid4()),
        "type": "web_hook",
        "address": receiver.address,
        "token": f"secret-{uuid.uuid4()}",
        "expiration": str(int(time.time() + 600) * 1000),
    }
    return body, drive.changes().watch(pageToken=token, body=body, **EVERY).execute()


def follow(drive, emulator, report, receiver):
    """One upload from the notification to its deletion, as a watcher sees it."""
    start = drive.changes().getStartPageToken(supportsAllDrives=True).execute()
    report.equal("getStartPageToken is as the discovery document says", violations(start, "StartPageToken"), [])
    token = start["startPageToken"]
    report.true("a start page token is decimal text", token.isdigit(), token)
    report.equal("at first there are no changes", changes_since(drive, token)[0], [])

    wanted, channel = watch(drive, token, receiver)
    report.equal("watch is as the discovery document says", violations(channel, "Channel"), [])
    report.equal("watch repeats id, token and expiration", pick(channel, "id", "token", "expiration"),
                 pick(wanted, "id", "token", "expiration"))
    path, length, body, headers = receiver.wait(channel["id"], 1)[0]
    report.equal("sync arrives where the channel points", path, "/notify")
    report.equal("sync has an empty body", (length, body), (0, b""))
    report.equal("sync has number 1", headers["X-Goog-Message-Number"], "1")
    report.equal("sync is called sync", headers["X-Goog-Resource-State"], "sync")
    compare_headers(report, "sync", headers, channel)

    folder = emulator.folder("Inbox")
    content = random.Random(1).randbytes(100_000)
    before = drive.changes().getStartPageToken(supportsAllDrives=True).execute()["startPageToken"]
    heard = len(receiver.of(channel["id"]))
    film = emulator.upload("Été à la mer.mp4", content, folder)["id"]
    receiver.wait(channel["id"], heard + 1)
    headers = receiver.wait(channel["id"], 2)[-1][3]
    report.equal("an upload is notified as change", headers["X-Goog-Resource-State"], "change")
    compare_headers(report, "change", headers, channel)
    numbers = [int(message[3]["X-Goog-Message-Number"]) for message in receiver.of(channel["id"])]
    report.true("message numbers only grow", numbers == sorted(set(numbers)), numbers)

    changes, after = changes_since(drive, before, fields=CHANGE_FIELDS)
    mine = [change for change in changes if change["fileId"] == film]
    report.equal("changes.list has the upload once", len(mine), 1)
    change, file = mine[0], mine[0]["file"]
    report.equal("the change is of a file that is there", pick(change, "changeType", "removed"), ["file", False])
    report.equal("its size is an int64 as a string", file["size"], "100000")
    report.equal("its checksums are those of the bytes", pick(file, "md5Checksum", "sha1Checksum", "sha256Checksum"),
                 [hashlib.new(name, content).hexdigest() for name in ("md5", "sha1", "sha256")])
    report.true("it has a headRevisionId", file["headRevisionId"], file)
    report.equal("name, type, parents and trash are right", pick(file, "name", "mimeType", "parents", "trashed"),
                 ["Été à la mer.mp4", "video/mp4", [folder], False])
    report.equal("the mask lets nothing else through", sorted(change),
                 ["changeType", "file", "fileId", "removed", "time"])
    everything = drive.changes().list(pageToken=token, fields="*", **EVERY).execute()
    report.equal("changes.list is as the discovery document says", violations(everything, "ChangeList"), [])
    report.equal("behind the new token nothing is new", changes_since(drive, after)[0], [])
    one_by_one, last = changes_since(drive, token, pageSize=1, fields=CHANGE_FIELDS)
    times = [change["fileId"] for change in one_by_one].count(film)
    report.equal("pages of one change give the same", (times, last), (1, after))
    emulator.control("POST", "settings", {"emptyPages": True})
    report.equal("and so do empty pages", changes_since(drive, before, fields=CHANGE_FIELDS), (changes, after))
    empty = drive.changes().list(pageToken=str(int(after) // 2 * 2), **EVERY).execute()
    report.true("which promise more", empty["changes"] == [] and "nextPageToken" in empty, empty)
    emulator.control("POST", "settings", {"emptyPages": False})

    plain = drive.files().get(fileId=film).execute()
    report.equal("files.get without a mask is short", sorted(plain), ["id", "kind", "mimeType", "name"])
    full = drive.files().get(fileId=film, fields="*", supportsAllDrives=True).execute()
    report.equal("files.get is as the discovery document says", violations(full, "File"), [])
    report.equal("files.get agrees with the change", {key: full.get(key) for key in file}, file)

    revised = emulator.control("POST", f"files/{film}/content", b"another cut")
    changes, after = changes_since(drive, after, fields=CHANGE_FIELDS)
    file = changes[-1]["file"]
    report.equal("new content is a new revision", pick(file, "headRevisionId", "size"),
                 [revised["headRevisionId"], "11"])
    report.true("and not the old one", file["headRevisionId"] != full["headRevisionId"], file)

    emulator.control("PATCH", f"files/{film}", {"trashed": True})
    changes, after = changes_since(drive, after, fields=CHANGE_FIELDS)
    report.equal("trash shows trashed", [(c["fileId"], c["removed"], c["file"]["trashed"]) for c in changes],
                 [(film, False, True)])
    emulator.control("DELETE", f"files/{film}")
    changes, after = changes_since(drive, after, fields="*")
    report.equal("deletion shows removed, without a file",
                 [(c["fileId"], c["removed"], "file" in c) for c in changes], [(film, True, False)])
    report.equal("includeRemoved=false hides it",
                 [c for c in changes_since(drive, token, includeRemoved=False)[0] if c["fileId"] == film], [])

    # The second channel tells when the first one would have spoken.
    _, second = watch(drive, after, receiver)
    receiver.wait(second["id"], 1)
    with report.raises("a used channel id is refused", HttpError, is_error(400, "channelIdNotUnique")):
        drive.changes().watch(pageToken=after, body=wanted, **EVERY).execute()
    stopped = drive.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}).execute()
    report.equal("channels.stop answers with nothing", stopped, "")
    heard, heard_by_second = len(receiver.of(channel["id"])), len(receiver.of(second["id"]))
    emulator.upload("after the stop.mp4", b"x", folder)
    receiver.wait(second["id"], heard_by_second + 1)
    time.sleep(0.5)
    report.equal("a stopped channel stays silent", len(receiver.of(channel["id"])), heard)
    with report.raises("a channel stops only once", HttpError, is_error(404, "notFound")):
        drive.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}).execute()

    body = {"id": str(uuid.uuid4()), "type": "web_hook", "address": receiver.address}
    watched = emulator.upload("watched.mp4", b"x", folder)["id"]
    single = drive.files().watch(fileId=watched, body=body, supportsAllDrives=True).execute()
    receiver.wait(single["id"], 1)
    emulator.control("PATCH", f"files/{watched}", {"trashed": True})
    headers = receiver.wait(single["id"], 2)[-1][3]
    report.equal("files.watch tells of the trash", headers["X-Goog-Resource-State"], "trash")
    report.equal("without a token no token is sent", headers["X-Goog-Channel-Token"], None)


def compare_headers(report, name, headers, channel):
    for header, member in (("ID", "id"), ("Token", "token")):
        report.equal(f"{name} carries the channel's {member}", headers[f"X-Goog-Channel-{header}"], channel[member])
    for header, member in (("ID", "resourceId"), ("URI", "resourceUri")):
        report.equal(f"{name} carries its {member}", headers[f"X-Goog-Resource-{header}"], channel[member])
    expires = parsedate_to_datetime(headers["X-Goog-Channel-Expiration"]).timestamp()
    report.equal(f"{name} says when the channel ends", int(expires) * 1000, int(channel["expiration"]))
    agent = headers["User-Agent"]
    report.true(f"{name} comes from APIs-Google", agent.startswith("APIs-Google"), agent)


def listing(drive, emulator, report):
    folder, elsewhere = emulator.folder("Bob's \\ list"), emulator.folder("elsewhere")
    names = [f"clip {number}.mp4" for number in range(7)]
    files = [emulator.upload(name, name.encode(), folder)["id"] for name in names]
    emulator.upload("not this one.mp4", b"x", elsewhere)
    emulator.control("PATCH", f"files/{files[6]}", {"trashed": True})
    query = f"'{folder}' in parents and trashed=false"
    found = drive.files().list(q=query, orderBy="name", fields="*", **EVERY).execute()
    report.equal("files.list is as the discovery document says", violations(found, "FileList"), [])
    report.equal("files.list finds what is in a folder and not trashed",
                 [(file["id"], file["name"]) for file in found["files"]], list(zip(files, names))[:6])
    paged, request = [], drive.files().list(q=query, pageSize=2, **EVERY)
    pages = 0
    while request is not None:
        page = request.execute()
        paged += [file["id"] for file in page["files"]]
        request, pages = drive.files().list_next(request, page), pages + 1
    report.true("list_next goes through all pages", sorted(paged) == sorted(files[:6]) and pages >= 3, (paged, pages))
    report.true("a folder has neither size nor content", not {"size", "md5Checksum", "headRevisionId"} & set(
        drive.files().get(fileId=folder, fields="*").execute()), folder)
    by_name = drive.files().list(q="name = 'Bob\\'s \\\\ list' and 'root' in parents", **EVERY).execute()
    report.equal("quotes in a query are understood", [file["id"] for file in by_name["files"]], [folder])
    team = emulator.control("POST", "drives", {"name": "Team"})["id"]
    shared = emulator.upload("shared.mp4", b"x", team)["id"]
    found = drive.files().list(driveId=team, corpora="drive", **EVERY).execute()
    report.equal("a shared drive is listed by its id", [file["id"] for file in found["files"]], [shared])
    found = drive.drives().list().execute()
    report.equal("drives.list is as the discovery document says", violations(found, "DriveList"), [])
    report.equal("drives.list names it", [(item["id"], item["name"]) for item in found["drives"]], [(team, "Team")])


def download(drive, file, chunk, retries=0):
    """The bytes, and in how many pieces they came."""
    out = io.BytesIO()
    loader = MediaIoBaseDownload(out, drive.files().get_media(fileId=file, supportsAllDrives=True), chunksize=chunk)
    done, pieces = False, 0
    while not done:
        _, done = loader.next_chunk(num_retries=retries)
        pieces += 1
    return out.getvalue(), pieces


def media(drive, emulator, report):
    content = random.Random(2).randbytes(1_000_003)
    file = emulator.upload("film.mov", content)["id"]
    found, pieces = download(drive, file, 64 << 10)
    expected = hashlib.sha256(content).hexdigest()
    report.equal("MediaIoBaseDownload gets the bytes", hashlib.sha256(found).hexdigest(), expected)
    report.equal("in ranges, the last one clipped", pieces, 16)
    ranges = [request["status"] for request in emulator.requests("files.media") if request["range"]]
    report.equal("each answered with 206", ranges, [206] * 16)
    report.equal("get_media().execute() gets them whole", drive.files().get_media(fileId=file).execute(), content)
    large = emulator.upload("large.mp4", pattern(3, 40 << 20))
    found, _ = download(drive, large["id"], 7_000_001)
    report.equal("a pattern has the checksum it promises", hashlib.sha256(found).hexdigest(), large["sha256Checksum"])
    # An empty file has no byte 0, so its only range is beyond its end: the client takes 416 for done.
    for size in (0, 1, 1023, 1024, 1025):
        file = emulator.upload(f"{size}.mp4", content[:size])["id"]
        found, _ = download(drive, file, 1024)
        report.equal(f"a file of {size} bytes arrives in chunks of 1024", found, content[:size])
    request = drive.files().get_media(fileId=file)
    request.headers["range"] = "bytes=1025-"
    with report.raises("a range beyond the end is a 416", HttpError,
                       lambda error: error.resp.status == 416 and error.resp["content-range"] == "bytes */1025"):
        request.execute()


def is_error(code, reason):
    def check(error):
        details = error.error_details
        found = details[0].get("reason") if isinstance(details, list) and details else details
        return error.resp.status == code and found == reason

    return check


def errors(drive, emulator, report):
    with report.raises("a missing file is a 404 notFound", HttpError,
                       lambda error: is_error(404, "notFound")(error) and error.reason == "File not found: nowhere."):
        drive.files().get(fileId="nowhere").execute()
    with report.raises("its media are a 404 too", HttpError, is_error(404, "notFound")):
        download(drive, "nowhere", 1024)
    with report.raises("a bad page token is a 400", HttpError, lambda error: error.resp.status == 400):
        drive.changes().list(pageToken="nonsense").execute()
    with report.raises("a bad query is a 400 invalid", HttpError, is_error(400, "invalid")):
        drive.files().list(q="size = ").execute()
    with report.raises("an unknown field is a 400 invalidParameter", HttpError, is_error(400, "invalidParameter")):
        drive.files().get(fileId="root", fields="nonsense").execute()
    with report.raises("a method that the emulator lacks is a 501 with its name", HttpError,
                       lambda error: error.resp.status == 501 and "comments.list" in error.reason):
        drive.comments().list(fileId="nowhere", fields="*").execute()
    with report.raises("a path that is not there is a 404 in HTML", HttpError,
                       lambda error: error.resp.status == 404 and "html" in error.resp["content-type"]):
        request = drive.files().get(fileId="nowhere")
        request.uri = f"{emulator.url}/drive/v3/nowhere"
        request.execute()
    with report.raises("a parameter that the method does not have is a 400", HttpError,
                       lambda error: error.resp.status == 400 and "colour" in error.reason):
        request = drive.files().list()
        request.uri += "&colour=red"
        request.execute()
    # What would make its address too long goes into the body of a POST.
    long = " or ".join(f"name = 'film {number}'" for number in range(200))
    found = drive.files().list(q=long, fields="files(id)").execute()
    report.equal("a query that is too long for an address is answered", found, {"files": []})

    folder = emulator.folder("faults")
    file = emulator.upload("film.mp4", b"film", folder)["id"]
    with report.raises("a rate limit is recognised", HttpError, is_error(403, "userRateLimitExceeded")):
        emulator.fault("files.get", status(403, "userRateLimitExceeded"))
        drive.files().get(fileId=file).execute()
    for code, reason in ((403, "userRateLimitExceeded"), (429, "rateLimitExceeded"), (503, "backendError")):
        emulator.fault("files.get", status(code, reason))
        found = drive.files().get(fileId=file).execute(num_retries=2)
        report.equal(f"the client retries {code} {reason} by itself", found["id"], file)
    emulator.fault("files.media", status(500, "internalError"))
    report.equal("and so it does for media", download(drive, file, 2, retries=2)[0], b"film")


def logins(drive, emulator, report):
    emulator.control("POST", "access-tokens/expire")
    before = len(emulator.requests("token"))
    found = drive.files().get(fileId="root").execute()
    report.equal("after a 401 the client logs in anew", found["id"], emulator.root)
    report.equal("once", len(emulator.requests("token")), before + 1)
    person = drive_for(emulator, user(emulator))
    found = person.files().get(fileId="root").execute()
    report.equal("a refresh token opens the drive too", found["id"], emulator.root)
    emulator.control("POST", "refresh-tokens/revoke")
    with report.raises("a revoked refresh token is an invalid_grant", RefreshError,
                       lambda error: "invalid_grant" in str(error) and not error.retryable):
        drive_for(emulator, user(emulator)).files().get(fileId="root").execute()


def pick(record, *names):
    return [record.get(name) for name in names]
