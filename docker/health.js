// The health check: the application user can log in and read, and nobody can without a password.
// The password comes from the environment, so that no process list shows it.
const server = "127.0.0.1:27017/crysearch";
const user = encodeURIComponent(process.env.CRYSEARCH_MONGO_USERNAME);
const password = encodeURIComponent(process.env.CRYSEARCH_MONGO_PASSWORD);

connect(`mongodb://${user}:${password}@${server}`).searches.findOne({}, { _id: 1 });

let refused = false;
try {
  connect(`mongodb://${server}`).searches.findOne({}, { _id: 1 });
} catch (error) {
  refused = true;
}
if (!refused) {
  print("The server answers without a password, so authentication is off.");
  quit(1);
}
