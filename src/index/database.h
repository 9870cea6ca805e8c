// SQLite, for a file that anybody who can write the state directory may have made: nothing in it is executed, and every
// value that comes out is checked for its type.
//
// The first failure stays, and everything after it gives nothing: the caller asks for it once, at the end (failure()).
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace oboro::index {

class Statement;

class Database {
 public:
  enum class Access : uint8_t { read, write };
  // write: the file is made if it is not there, mode 0600. Errors: not_found, invalid (no database, or damaged), io.
  static Result<std::unique_ptr<Database>> open(const std::string& path, Access access);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void run(const std::string& sql);
  Statement statement(std::string_view sql);
  // Errors: invalid (damaged, or made by somebody else), io (which a full disk is, too).
  const std::optional<Error>& failure() const { return failure_; }
  void fail(Errc code, const std::string& what);  // "PATH: WHAT"; kept only if it is the first
  void forget_failure() { failure_.reset(); }
  bool in_transaction() const;
  // Not what it was opened as: removed, or another file has its name.
  bool was_replaced() const;

 private:
  friend class Statement;
  explicit Database(std::string path) : path_(std::move(path)) {}
  void failed();  // of the last call

  std::string path_;
  sqlite3* handle_ = nullptr;
  uint64_t device_ = 0, inode_ = 0;
  std::optional<Error> failure_;
};

// The columns are counted from 0, what is bound from 1, as in SQLite.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  ~Statement();

  Statement& bind(int index, int64_t value);
  Statement& bind_unsigned(int index, uint64_t value) { return bind(index, static_cast<int64_t>(value)); }
  Statement& bind_bytes(int index, std::string_view value);  // copied, as the next
  Statement& bind_text(int index, std::string_view value);
  Statement& bind_null(int index);
  bool row();   // false: there is none, or none more; the statement can be bound anew
  void run() {  // for its effect
    while (row()) {
    }
  }
  void reset();  // before the last row

  bool is_null(int column) const;
  int64_t integer(int column);
  uint64_t number(int column) { return static_cast<uint64_t>(integer(column)); }
  uint64_t number_to(int column, uint64_t most);  // a failure if it is more
  std::string_view bytes(int column);             // until the next call of row() or reset()

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* handle) : database_(&database), handle_(handle) {}
  Database* database_;
  sqlite3_stmt* handle_;
};

}  // namespace oboro::index
