#include "index/tables.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "event/codec.h"
#include "index/schema.h"
#include "stream/crc32c.h"

namespace oboro::index {
namespace {

using event::ObjectType;
using history::FileDetail;
using history::ObjectKey;
using history::PathTree;
using history::TrackedObject;

constexpr char kColumns[] =
    "key, labels, since_ns, since_order, ended, pid, inode, generation, fs, fs_type, unlinked, names, last_path, "
    "detail";

int64_t checksum(std::string_view text) { return stream::crc32c(std::as_bytes(std::span(text))); }

// An object alone, in the binary form of events: that of an event with nothing else, without what is before and behind
// the object there.
struct Frame {
  std::string before, behind;
};

std::string encoded(const event::Event& event) {
  std::vector<std::byte> bytes;
  event::encode(event, bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const Frame& frame() {
  static const Frame kFrame = [] {
    event::Event event;
    event.set(event::Exited{});
    const std::string whole = encoded(event);  // ends with the type of an object that is none, and the verdict
    return Frame{whole.substr(0, whole.size() - 2), whole.substr(whole.size() - 1)};
  }();
  return kFrame;
}

// Whether the binary form keeps all of it: every event has come through it once, but a forged journal's.
template <typename Record>
bool fits(const Record& record) {
  bool good = true;
  event::for_each_field(record, [&](auto type, const auto& member, const event::FieldInfo& info) {
    using Value = typename decltype(type)::Value;
    if constexpr (std::is_same_v<Value, std::string>) {
      good = good && member.size() <= info.bound;
    } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
      size_t size = 0;
      for (const std::string& text : member) size += text.size();
      good = good && size <= info.bound && member.size() <= event::kMaxArgumentCount;
    } else if constexpr (std::is_class_v<Value>) {
      good = good && fits(member);
    }
  });
  return good;
}

std::optional<std::string> packed(const TrackedObject& object) {
  event::Event event;
  event.set(event::Exited{});
  event.object.type = object.type;
  if (const auto* process = std::get_if<event::Subject>(&object.detail)) event.object.process = *process;
  if (const auto* socket = std::get_if<history::SocketDetail>(&object.detail)) {
    event.object.path = socket->path;
    event.object.protocol = socket->protocol;
    event.object.local = socket->local;
    event.object.remote = socket->remote;
  }
  if (!fits(event.object)) return std::nullopt;
  const std::string whole = encoded(event);
  return whole.substr(frame().before.size(), whole.size() - frame().before.size() - frame().behind.size());
}

std::optional<event::Object> unpacked(std::string_view bytes) {
  const std::string whole = frame().before + std::string(bytes) + frame().behind;
  auto event = event::decode(std::as_bytes(std::span(whole)));
  if (!event) return std::nullopt;
  return std::move(event->object);
}

}  // namespace

Tables::Tables(Database& database) : database_(database) {}

Statement& Tables::prepared(std::unique_ptr<Statement>& statement, std::string_view sql) {
  if (!statement) statement = std::make_unique<Statement>(database_.statement(sql));
  return *statement;
}

TrackedObject Tables::take_object(Statement& row) {
  TrackedObject object;
  const uint64_t key = row.number(0);
  const uint64_t type = key >> 56;
  if (type == 0 || type >= static_cast<uint64_t>(ObjectType::count)) {
    database_.fail(Errc::invalid, "is damaged: an object is of no type");
    return object;
  }
  object.type = static_cast<ObjectType>(type);
  object.id = key & history::kIdMask;
  object.labels = row.number(1);
  object.since_ns = row.number(2);
  object.since_order = row.number(3);
  object.ended = row.number_to(4, 1) != 0;
  if (object.type == ObjectType::file) {
    FileDetail& file = object.detail.emplace<FileDetail>();
    file.inode = row.number(6);
    file.generation = static_cast<uint32_t>(row.number_to(7, UINT32_MAX));
    file.fs = static_cast<uint32_t>(row.number_to(8, words_ - 1));
    file.fs_type = static_cast<uint32_t>(row.number_to(9, words_ - 1));
    file.unlinked = row.number_to(10, 1) != 0;
    const std::string_view names = row.is_null(11) ? std::string_view() : row.bytes(11);
    file.names.resize(names.size() / sizeof(PathTree::Node));
    if (!file.names.empty()) std::memcpy(file.names.data(), names.data(), file.names.size() * sizeof(PathTree::Node));
    if (!row.is_null(12)) file.last_path = row.bytes(12);
    return object;
  }
  auto detail = unpacked(row.bytes(13));
  if (!detail || detail->type != object.type) {
    database_.fail(Errc::invalid, "is damaged: an object is not in form");
  } else if (object.type == ObjectType::process) {
    object.detail = std::move(detail->process);
  } else {
    object.detail = history::SocketDetail{std::move(detail->path), std::move(detail->protocol),
                                          std::move(detail->local), std::move(detail->remote)};
  }
  return object;
}

std::optional<TrackedObject> Tables::object(ObjectKey key) {
  Statement& query = prepared(object_, std::string("SELECT ") + kColumns + " FROM object WHERE key = ?");
  if (!query.bind_unsigned(1, key).row()) return std::nullopt;
  TrackedObject object = take_object(query);
  query.reset();
  if (database_.failure()) return std::nullopt;
  return object;
}

std::vector<history::Gain> Tables::gains(ObjectKey key) {
  Statement& query = prepared(
      gains_, "SELECT ord, labels, source, classified, place FROM gain WHERE object = ? ORDER BY ord LIMIT 64");
  query.bind_unsigned(1, key);
  std::vector<history::Gain> out;
  while (query.row())
    out.push_back({query.number(0), query.number(1), query.number(2), query.number_to(3, 1) != 0, query.number(4)});
  return out;
}

// Leaks have the object 0.
void Tables::given(ObjectKey from, uint64_t after, const Given& take) {
  Statement& query = prepared(
      given_,
      "SELECT object, ord, labels, place FROM gain INDEXED BY gain_source WHERE source = ? AND source <> 0 AND ord > ? "
      "ORDER BY ord");
  query.bind_unsigned(1, from).bind_unsigned(2, after);
  while (query.row())
    if (!take(query.number(0), {query.number(1), query.number(2), from, false, query.number(3)})) return query.reset();
}

void Tables::each(ObjectType type, bool ended, const std::function<void(TrackedObject)>& take) {
  Statement query = database_.statement(std::string("SELECT ") + kColumns + " FROM object " +
                                        (ended ? "" : "INDEXED BY object_present ") + "WHERE key BETWEEN ? AND ?" +
                                        (ended ? "" : " AND ended = 0"));
  query.bind_unsigned(1, history::object_key(type, 0)).bind_unsigned(2, history::object_key(type, history::kIdMask));
  while (query.row()) {
    TrackedObject object = take_object(query);
    if (database_.failure()) return;
    take(std::move(object));
  }
}

std::vector<ObjectKey> Tables::present_of_boot() {
  Statement query =
      database_.statement("SELECT key FROM object INDEXED BY object_of_boot WHERE ended = 0 AND lasting = 0");
  std::vector<ObjectKey> out;
  while (query.row()) out.push_back(query.number(0));
  return out;
}

void Tables::ask(Statement& statement, const Right& right) {
  while (statement.row())
    if (right(statement.number(0))) break;
}

void Tables::with_pid(uint32_t pid, const Right& right) {
  Statement query = database_.statement("SELECT key FROM object WHERE pid = ? ORDER BY since_order DESC, key DESC");
  ask(query.bind(1, pid), right);
}

void Tables::last_named(std::string_view path, const Right& right) {
  Statement query =
      database_.statement("SELECT key FROM object WHERE last_crc = ? ORDER BY since_order DESC, key DESC");
  ask(query.bind(1, checksum(path)), right);
}

PathTree::Node Tables::child(PathTree::Node parent, std::string_view name) {
  Statement& query = prepared(child_, "SELECT node FROM name WHERE parent = ? AND name = ?");
  if (!query.bind(1, parent).bind_bytes(2, name).row()) return PathTree::kNone;
  const auto node = static_cast<PathTree::Node>(query.number_to(0, UINT32_MAX));
  query.reset();
  return node;
}

std::optional<PathTree::Entry> Tables::entry(PathTree::Node node) {
  Statement& query = prepared(entry_, "SELECT parent, children, file, name FROM name WHERE node = ?");
  if (!query.bind(1, node).row()) return std::nullopt;
  PathTree::Entry entry;
  entry.attached = query.integer(0) != kDisplaced;
  if (entry.attached) entry.parent = static_cast<PathTree::Node>(query.number_to(0, UINT32_MAX));
  entry.children = static_cast<uint32_t>(query.number_to(1, UINT32_MAX));
  entry.file = query.number(2);
  entry.name = query.bytes(3);
  query.reset();
  if (database_.failure() || entry.name.empty()) return std::nullopt;
  return entry;
}

void Tables::write_object(ObjectKey key, const TrackedObject& object, bool lasting) {
  Statement& put = prepared(put_object_, std::string("INSERT OR REPLACE INTO object (") + kColumns +
                                             ", lasting, last_crc) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  if (object.id > history::kIdMask)
    return database_.fail(Errc::limit, "cannot have the objects of this journal: an ID is too large");
  put.bind_unsigned(1, key).bind_unsigned(2, object.labels).bind_unsigned(3, object.since_ns);
  put.bind_unsigned(4, object.since_order).bind(5, object.ended ? 1 : 0).bind(15, lasting ? 1 : 0);
  for (const int column : {6, 7, 8, 9, 10, 11, 12, 13, 14, 16}) put.bind_null(column);
  if (const auto* file = std::get_if<FileDetail>(&object.detail)) {
    put.bind_unsigned(7, file->inode).bind(8, file->generation).bind(9, file->fs).bind(10, file->fs_type);
    put.bind(11, file->unlinked ? 1 : 0);
    if (!file->names.empty())
      put.bind_bytes(12,
                     {reinterpret_cast<const char*>(file->names.data()), file->names.size() * sizeof(PathTree::Node)});
    if (!file->last_path.empty()) put.bind_bytes(13, file->last_path);
    if (file->names.empty()) put.bind(16, checksum(file->last_path));
  } else {
    const auto detail = packed(object);
    if (!detail) return database_.fail(Errc::limit, "cannot have the objects of this journal: a text is too long");
    if (const auto* process = std::get_if<event::Subject>(&object.detail)) put.bind(6, process->pid);
    put.bind_bytes(14, *detail);
  }
  put.run();
  for (const history::Gain& one : object.gains) write_gain(key, one);
}

void Tables::write_gain(ObjectKey to, const history::Gain& gain) {
  Statement& put = prepared(
      put_gain_, "INSERT OR REPLACE INTO gain (object, ord, labels, source, classified, place) VALUES (?,?,?,?,?,?)");
  put.bind_unsigned(1, to).bind_unsigned(2, gain.order).bind_unsigned(3, gain.labels).bind_unsigned(4, gain.from);
  put.bind(5, gain.classified ? 1 : 0).bind_unsigned(6, gain.place).run();
}

void Tables::write_node(PathTree::Node node, const PathTree::Entry& entry) {
  if (entry.name.empty()) {
    prepared(drop_node_, "DELETE FROM name WHERE node = ?").bind(1, node).run();
    return;
  }
  Statement& put =
      prepared(put_node_, "INSERT OR REPLACE INTO name (node, parent, children, file, name) VALUES (?,?,?,?,?)");
  put.bind(1, node).bind(2, entry.attached ? int64_t{entry.parent} : kDisplaced).bind(3, entry.children);
  put.bind_unsigned(4, entry.file).bind_bytes(5, entry.name).run();
}

// In ascending order, as the tables have them: most are at the end.
void Tables::write_changes(const history::History& state) {
  words_ = state.figures().words.size();
  std::vector<ObjectKey> keys(state.changed().begin(), state.changed().end());
  std::sort(keys.begin(), keys.end());
  for (const ObjectKey key : keys)
    if (const TrackedObject* object = state.find(key)) write_object(key, *object, !state.ends_with_boot(*object));
  for (const history::Gain& leak : state.new_leaks()) write_gain(0, leak);
  std::vector<PathTree::Node> nodes(state.names().changed().begin(), state.names().changed().end());
  std::sort(nodes.begin(), nodes.end());
  for (const PathTree::Node node : nodes) write_node(node, state.names().entry(node));
}

}  // namespace oboro::index
