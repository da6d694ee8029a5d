"""A listener as it is usually written: Flask, Google's client, MediaIoBaseDownload into a file.

It is a contestant of the bench, and only that: one process, no verification, no ledger, nothing that survives it.
"""

import os
import sys

import google_auth_httplib2
import httplib2
from flask import Flask, request
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.http import MediaIoBaseDownload

port, api, authority, credentials, folder, page_token, target = sys.argv[1:]

app = Flask(__name__)
account = service_account.Credentials.from_service_account_file(
    credentials, scopes=["https://www.googleapis.com/auth/drive.readonly"]
)
http = google_auth_httplib2.AuthorizedHttp(account, http=httplib2.Http(ca_certs=authority or None))
drive = build("drive", "v3", http=http, client_options={"api_endpoint": f"{api}/drive/v3/"})


def download(file):
    call = drive.files().get_media(fileId=file["id"], supportsAllDrives=True)
    with open(os.path.join(target, file["name"]), "wb") as out:
        loader = MediaIoBaseDownload(out, call)
        done = False
        while not done:
            _, done = loader.next_chunk()


@app.post("/webhook")
def webhook():
    global page_token
    if request.headers.get("X-Goog-Resource-State") == "sync":
        return "", 200
    while page_token:
        page = drive.changes().list(
            pageToken=page_token,
            pageSize=1000,
            fields="nextPageToken,newStartPageToken,changes(fileId,removed,file(id,name,mimeType,parents,trashed))",
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
        ).execute()
        for change in page["changes"]:
            file = change.get("file")
            if file and not file["trashed"] and folder in file.get("parents", []):
                if file["mimeType"].startswith("video/"):
                    download(file)
        if "nextPageToken" not in page:
            page_token = page["newStartPageToken"]
            break
        page_token = page["nextPageToken"]
    return "", 200


@app.get("/")
def ready():
    return "", 200


app.run(host="127.0.0.1", port=int(port), threaded=False)
