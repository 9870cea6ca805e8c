// Result<T>: a value or an Error. No exception crosses a module boundary of Oboro, and none may reach QEMU.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace oboro {

enum class Errc {
  invalid,      // malformed input (a file, an argument, guest bytes): the message says what and where
  not_found,    // something named is not there
  unsupported,  // well-formed, but this build, QEMU or kernel cannot do it
  io,           // the host refused: the message carries strerror
  limit,        // a bound of ours was reached
  internal,     // a bug of ours
};

struct Error {
  Errc code = Errc::internal;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  explicit operator bool() const { return !error_.has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace oboro
