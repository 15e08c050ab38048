"use strict";
// Loaded into Azurite before its own code.

// Azurite answers requests shortly before it listens to SIGTERM, and no longer listens while it closes its
// database. Until it listens, ask again; never die half way, for what was stored last would be lost.
process.on("SIGTERM", () => {
  if (process.listenerCount("SIGTERM") === 1) {
    setTimeout(() => process.kill(process.pid, "SIGTERM"), 50).unref();
  }
});

// The local service holds the other end of stdin: when the service is gone, however it ended, stdin closes
// and Azurite goes too.
process.stdin.on("end", () => {
  process.kill(process.pid, "SIGTERM");
  setTimeout(() => process.exit(1), 5000).unref();
});
process.stdin.on("error", () => process.exit(1));
process.stdin.resume();
process.stdin.unref?.(); // it alone keeps nothing running
