// llama.cpp fills in VK_EXT_layer_settings, which older Vulkan headers (Debian 12's 1.3.239) don't know. With this folder
// in CPLUS_INCLUDE_PATH, this file comes before theirs and adds the three types. Headers that have them pass unchanged.
#pragma once
#include_next <vulkan/vulkan.hpp>

#ifndef VK_EXT_layer_settings
#include <cstdint>
#include <vector>

namespace VULKAN_HPP_NAMESPACE {

enum class LayerSettingTypeEXT : int32_t { eBool32 = 0 };

struct LayerSettingEXT {
  const char *layer;
  const char *name;
  LayerSettingTypeEXT type;
  uint32_t count;
  const void *values;
};

struct LayerSettingsCreateInfoEXT {
  VkStructureType sType = static_cast<VkStructureType>(1000496000);
  const void *pNext = nullptr;
  uint32_t count;
  const LayerSettingEXT *settings;

  explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> &all)
      : count(static_cast<uint32_t>(all.size())), settings(all.data()) {}
};

} // namespace VULKAN_HPP_NAMESPACE
#endif
