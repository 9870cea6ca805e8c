#include "index/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/fd.h"
#include "base/io_error.h"

namespace oboro::index {
namespace {

constexpr int kBusyMs = 10'000;         // another process writes a batch
constexpr int kLongestValue = 8 << 20;  // of anything that is in an index
constexpr const char* kSettings =
    "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; "
    "PRAGMA cache_size=-16384;";

Errc code_of(int result) {
  switch (result & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR:  // a table or a column that there should be
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
      return Errc::invalid;
    default:
      return Errc::io;
  }
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Access access) {
  std::unique_ptr<Database> database(new Database(path));
  // SQLite would make it with the mode that the umask leaves; its other files get that of this one. A file that is
  // there is not opened here: to close it would end the locks that this process has on it.
  if (access == Access::write) {
    const UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!made && errno != EEXIST) return io_error(path);
  }
  struct stat is {};
  if (::lstat(path.c_str(), &is) != 0) return io_error(path);
  if (!S_ISREG(is.st_mode)) return Error{Errc::invalid, path + ": is not a regular file"};
  database->device_ = is.st_dev;
  database->inode_ = is.st_ino;
  const int flags = (access == Access::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
  if (::sqlite3_open_v2(path.c_str(), &database->handle_, flags, nullptr) != SQLITE_OK) {
    database->failed();
    return *database->failure_;
  }
  sqlite3* const handle = database->handle_;
  ::sqlite3_busy_timeout(handle, kBusyMs);
  ::sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, kLongestValue);
  ::sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
  ::sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  ::sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  ::sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  database->run(kSettings);
  if (access == Access::write) {
    // Normal: after a power loss the last batches may be missing, and the rest is whole.
    database->run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=67108864;");
  }
  if (database->failure_) return *database->failure_;
  return database;
}

Database::~Database() { ::sqlite3_close(handle_); }

bool Database::was_replaced() const {
  struct stat is {};
  return ::lstat(path_.c_str(), &is) != 0 || is.st_dev != device_ || is.st_ino != inode_;
}

bool Database::in_transaction() const { return ::sqlite3_get_autocommit(handle_) == 0; }

void Database::fail(Errc code, const std::string& what) {
  if (!failure_) failure_ = Error{code, path_ + ": " + what};
}

void Database::failed() { fail(code_of(::sqlite3_extended_errcode(handle_)), ::sqlite3_errmsg(handle_)); }

void Database::run(const std::string& sql) {
  if (!failure_ && ::sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) failed();
}

Statement Database::statement(std::string_view sql) {
  sqlite3_stmt* made = nullptr;
  if (!failure_ && ::sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &made, nullptr) != SQLITE_OK)
    failed();
  return {*this, made};
}

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), handle_(std::exchange(other.handle_, nullptr)) {}

Statement::~Statement() { ::sqlite3_finalize(handle_); }

Statement& Statement::bind(int index, int64_t value) {
  ::sqlite3_bind_int64(handle_, index, value);
  return *this;
}

Statement& Statement::bind_bytes(int index, std::string_view value) {
  if (::sqlite3_bind_blob64(handle_, index, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT) !=
          SQLITE_OK &&
      handle_ != nullptr)
    database_->failed();
  return *this;
}

Statement& Statement::bind_text(int index, std::string_view value) {
  ::sqlite3_bind_text(handle_, index, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::bind_null(int index) {
  ::sqlite3_bind_null(handle_, index);
  return *this;
}

bool Statement::row() {
  if (database_->failure_ || handle_ == nullptr) return false;
  const int result = ::sqlite3_step(handle_);
  if (result == SQLITE_ROW) return true;
  if (result != SQLITE_DONE) database_->failed();
  ::sqlite3_reset(handle_);
  return false;
}

void Statement::reset() { ::sqlite3_reset(handle_); }

bool Statement::is_null(int column) const { return ::sqlite3_column_type(handle_, column) == SQLITE_NULL; }

int64_t Statement::integer(int column) {
  if (::sqlite3_column_type(handle_, column) == SQLITE_INTEGER) return ::sqlite3_column_int64(handle_, column);
  database_->fail(Errc::invalid, "is damaged: what should be a number is none");
  return 0;
}

uint64_t Statement::number_to(int column, uint64_t most) {
  const uint64_t value = number(column);
  if (value <= most) return value;
  database_->fail(Errc::invalid, "is damaged: the number " + std::to_string(value) + " is too large");
  return 0;
}

std::string_view Statement::bytes(int column) {
  if (::sqlite3_column_type(handle_, column) != SQLITE_BLOB) {
    database_->fail(Errc::invalid, "is damaged: what should be bytes is none");
    return {};
  }
  const void* const data = ::sqlite3_column_blob(handle_, column);
  const auto size = static_cast<size_t>(::sqlite3_column_bytes(handle_, column));
  return size == 0 || data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

}  // namespace oboro::index
