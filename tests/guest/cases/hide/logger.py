import logging, logging.handlers, os, sys
handler = logging.handlers.RotatingFileHandler("/var/secret/app.log", maxBytes=2000, backupCount=3)
handler.setFormatter(logging.Formatter("%(message)s"))
log = logging.getLogger("x"); log.addHandler(handler); log.setLevel(logging.INFO)
for i in range(200): log.info("line %d of the log", i)
names = sorted(os.listdir("/var/secret"))
print("files", names)
print("last", open("/var/secret/app.log").read().splitlines()[-1])
print("sizes", all(os.path.getsize("/var/secret/" + n) <= 2000 for n in names))
