// The health check of MongoDB in compose.yaml, run by mongosh in the container: exits with 0 when clients can use it.
//
// The checks of the first member also make the replica set and its users. Until the first user exists, MongoDB lets a
// client on the same host do that without a password. Later checks only log in.
const fs = require("fs")
const DATABASE = "streaming_db"
const members = (process.env.REPLICA_SET_MEMBERS || "").split(",").filter(Boolean)
const admin = db.getSiblingDB("admin")

function secret(name) {
  return fs.readFileSync(`/run/secrets/mongodb-${name}-password`, "utf8").trim()
}

function canLogIn(user, name) {
  try {
    return admin.auth({ user, pwd: secret(name) }).ok === 1
  } catch (error) {
    if (error.codeName !== "AuthenticationFailed") throw error
    return false
  }
}

function initiate() {
  // The first member becomes the primary, which makes the users.
  const list = members.map((host, index) => ({ _id: index, host, priority: index === 0 ? 2 : 1 }))
  rs.initiate({ _id: "rs0", members: list })
}

function createUsers() {
  if (!canLogIn("admin", "admin")) {
    admin.createUser({ user: "admin", pwd: secret("admin"), roles: [{ role: "root", db: "admin" }] })
    canLogIn("admin", "admin")
  }
  const known = new Set(admin.getUsers().users.map(({ user }) => user))
  if (!known.has("streamapp")) {
    admin.createUser({ user: "streamapp", pwd: secret("worker"), roles: [{ role: "readWrite", db: DATABASE }] })
  }
  // The last one: that it can log in shows that all are there.
  admin.createUser({ user: "reader", pwd: secret("reader"), roles: [{ role: "read", db: DATABASE }] })
}

if (db.hello().isreplicaset && members.length) initiate()
const hello = db.hello()
if (hello.isWritablePrimary && !canLogIn("reader", "reader")) createUsers()
quit((hello.isWritablePrimary || hello.secondary) && canLogIn("reader", "reader") ? 0 : 1)
