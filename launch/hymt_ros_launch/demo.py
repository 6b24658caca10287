"""Say five sentences to a running translator and show what comes back, as captions."""

import argparse
import sys
import time

SENTENCES = (
    'Hello.',
    'Where is the charging station?',
    'Please follow me.',
    'The meeting on Thursday is cancelled.',
    'Thank you.',
)
DISCOVERY_S_MAX = 30.0
ANSWER_S_MAX = 20.0
# After the first caption of a sentence the other languages follow at once.
FURTHER_CAPTIONS_S = 1.0


def wait(rclpy, node, condition, seconds):
    """Spin until the condition holds; False when the time has passed first."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        rclpy.spin_once(node, timeout_sec=0.05)
    return True


def main():
    """Run the demo; 1 when nobody answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--node', default='/translator', help='full name of the translator')
    parser.add_argument('--topic', default='/text', help='where the translator hears')
    options = parser.parse_args()

    # Here, so that --help works where ROS is not sourced.
    import rclpy
    from hymt_ros.msg import Translation
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node('hymt_demo')
    heard = []
    node.create_subscription(
        Translation, f'{options.node}/translation', heard.append, 50)
    publisher = node.create_publisher(String, options.topic, 10)
    if not wait(rclpy, node, lambda: publisher.get_subscription_count() > 0
                and node.count_publishers(f'{options.node}/translation') > 0, DISCOVERY_S_MAX):
        print(f'no translator {options.node} hears {options.topic}', file=sys.stderr)
        return 1
    for sentence in SENTENCES:
        heard.clear()
        publisher.publish(String(data=sentence))
        if not wait(rclpy, node, lambda: heard, ANSWER_S_MAX):
            print(f"no translation of '{sentence}' within {ANSWER_S_MAX} s", file=sys.stderr)
            return 1
        wait(rclpy, node, lambda: False, FURTHER_CAPTIONS_S)
        print(f'\n  {heard[0].source_locale:>7}  {sentence}')
        for caption in sorted(heard, key=lambda one: one.target_locale):
            said = caption.text or caption.detail
            print(f'  {caption.target_locale:>7}  {said}  {caption.total_ms:.0f} ms', flush=True)
    print(f'\nNow you:\n  ros2 service call {options.node}/translate hymt_ros/srv/Translate '
          '"{texts: [Where is the charging station?]}"', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
