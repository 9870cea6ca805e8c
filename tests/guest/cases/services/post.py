import sys
import urllib.request

with open("/tmp/before", "w") as out:
    out.write("clean\n")
with open("/srv/secret/plan") as plan:
    text = plan.read()
with open("/tmp/notes", "w") as out:
    out.write(text.upper())
with urllib.request.urlopen(sys.argv[1], text.encode()) as answer:
    print(answer.status)
