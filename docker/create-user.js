// Runs once, when the database is new: the user that crysearch and its workers log in as.
// It may read and write the database crysearch, and nothing else.
db.getSiblingDB("crysearch").createUser({
  user: process.env.CRYSEARCH_MONGO_USERNAME,
  pwd: process.env.CRYSEARCH_MONGO_PASSWORD,
  roles: [{ role: "readWrite", db: "crysearch" }],
});
