// SPDX-License-Identifier: MIT
#pragma once
// A strict JSON reader, to check the output of a trace.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

struct json {
  enum class kind { null, boolean, number, string, array, object } is = kind::null;
  bool truth = false;
  double number = 0;
  std::string text;
  std::vector<json> items;
  std::map<std::string, json> members;

  bool has(const std::string& key) const { return members.count(key) != 0; }
  const json& operator[](const std::string& key) const {
    const auto found = members.find(key);
    if (found == members.end()) throw std::runtime_error("no member '" + key + "'");
    return found->second;
  }
};

/// Throws std::runtime_error for everything that RFC 8259 does not allow, for a member given twice, and for text that is
/// not UTF-8.
class json_reader {
 public:
  static json read(std::string_view text) {
    json_reader reader(text);
    json value = reader.value(0);
    reader.skip_space();
    if (reader.at_ != text.size()) reader.wrong("something after the end");
    return value;
  }

 private:
  explicit json_reader(std::string_view text) : text_(text) {}

  [[noreturn]] void wrong(const std::string& what) const {
    throw std::runtime_error(what + " at byte " + std::to_string(at_));
  }
  char peek() const {
    if (at_ == text_.size()) wrong("an early end");
    return text_[at_];
  }
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) wrong(std::string("no '") + c + "'");
  }
  void skip_space() {
    while (at_ != text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  json value(int depth) {
    if (depth > 20) wrong("too deep");
    skip_space();
    json v;
    switch (peek()) {
      case '{':
        v.is = json::kind::object;
        ++at_;
        skip_space();
        if (take('}')) return v;
        do {
          skip_space();
          std::string key = string();
          skip_space();
          expect(':');
          if (!v.members.emplace(std::move(key), value(depth + 1)).second) wrong("a member twice");
          skip_space();
        } while (take(','));
        expect('}');
        return v;
      case '[':
        v.is = json::kind::array;
        ++at_;
        skip_space();
        if (take(']')) return v;
        do {
          v.items.push_back(value(depth + 1));
          skip_space();
        } while (take(','));
        expect(']');
        return v;
      case '"':
        v.is = json::kind::string;
        v.text = string();
        return v;
      case 't':
      case 'f':
        v.is = json::kind::boolean;
        v.truth = peek() == 't';
        word(v.truth ? "true" : "false");
        return v;
      case 'n':
        word("null");
        return v;
      default:
        v.is = json::kind::number;
        v.number = number();
        return v;
    }
  }
  void word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) wrong("no word of JSON");
    at_ += expected.size();
  }
  double number() {
    const std::size_t begin = at_;
    take('-');
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
    return std::strtod(std::string(text_.substr(begin, at_ - begin)).c_str(), nullptr);
  }
  void digits() {
    const std::size_t begin = at_;
    while (at_ != text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    if (at_ == begin) wrong("no digit");
  }
  std::string string() {
    std::string result;
    expect('"');
    while (!take('"')) {
      const auto byte = static_cast<unsigned char>(peek());
      if (byte < 0x20) wrong("a control character in a string");
      if (byte == '\\') {
        ++at_;
        escape(result);
      } else {
        character(result);
      }
    }
    return result;
  }
  void escape(std::string& to) {
    const char c = peek();
    ++at_;
    constexpr std::string_view letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = letters.find(c); i != std::string_view::npos) {
      to += meant[i];
      return;
    }
    if (c != 'u') wrong("no such escape");
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const std::size_t digit = std::string_view("0123456789abcdef").find(peek());
      if (digit == std::string_view::npos) wrong("no hexadecimal digit");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    if (code >= 0xd800 && code < 0xe000) wrong("a surrogate");
    if (code < 0x80) {
      to += static_cast<char>(code);
    } else if (code < 0x800) {
      to += static_cast<char>(0xc0 | code >> 6);
      to += static_cast<char>(0x80 | (code & 63));
    } else {
      to += static_cast<char>(0xe0 | code >> 12);
      to += static_cast<char>(0x80 | (code >> 6 & 63));
      to += static_cast<char>(0x80 | (code & 63));
    }
  }
  /// Decodes one character of UTF-8; throws if it is malformed.
  void character(std::string& to) {
    const std::size_t begin = at_;
    unsigned code = static_cast<unsigned char>(text_[at_++]);
    const int more = code < 0x80 ? 0 : code >> 5 == 6 ? 1 : code >> 4 == 14 ? 2 : code >> 3 == 30 ? 3 : -1;
    if (more < 0) wrong("no UTF-8");
    if (more > 0) code &= 0x3fu >> more;
    for (int i = 0; i < more; ++i, ++at_) {
      const auto byte = static_cast<unsigned char>(peek());
      if (byte >> 6 != 2) wrong("no UTF-8");
      code = code << 6 | (byte & 63);
    }
    constexpr unsigned least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) wrong("no UTF-8");
    to += text_.substr(begin, at_ - begin);
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace support
