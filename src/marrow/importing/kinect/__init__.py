"""What Kinect's programs and data sets write."""
